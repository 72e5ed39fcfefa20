"""Taking the maps of another registry into this one, with everything that is known of them."""
