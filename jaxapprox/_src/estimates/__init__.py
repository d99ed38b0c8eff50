"""Monte-Carlo estimates of dense products and convolutions."""
