"""Text and explanation metrics, always beside their floors."""
