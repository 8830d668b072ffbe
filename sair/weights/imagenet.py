"""Define how networks that were trained on ImageNet expect images: less a mean and divided by a deviation."""

# Of the red, green and blue channels in [0, 1], as torchvision's models use them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
