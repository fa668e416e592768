"""Off-policy evaluation of slates from logged feedback."""
