"""Networks: their contract, how they are made, saved, loaded and measured."""
