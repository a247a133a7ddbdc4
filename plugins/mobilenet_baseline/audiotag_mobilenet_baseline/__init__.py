"""EfficientAT's MobileNets for audiotag."""
