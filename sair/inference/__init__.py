"""Fill a frozen split or one image with a method, and segment images."""
