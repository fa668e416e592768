"""What a reason is worth: claims, click uplift, vetoes, style, and their mix."""
