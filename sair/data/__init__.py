"""Read or draw datasets and masks, check them, freeze the splits and read them back."""
