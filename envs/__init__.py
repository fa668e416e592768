"""The simulated shop: catalogue, similarity, shoppers, click models, environment, feedback log."""
