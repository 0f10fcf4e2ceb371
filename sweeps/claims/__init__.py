"""Published claims and what our seeds say about them."""
