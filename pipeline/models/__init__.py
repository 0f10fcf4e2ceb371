"""Networks: layers from a config, and the Keras model of them."""
