"""Post-training of diffusion and flow-matching models: rewards, preferences, continuous time."""

__version__ = "0.1.0"
