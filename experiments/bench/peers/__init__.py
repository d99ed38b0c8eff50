"""What speed is compared with: the same networks as one writes them in Flax and in PyTorch."""
