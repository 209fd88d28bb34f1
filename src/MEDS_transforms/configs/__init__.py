"""The packaged Hydra configurations, found as `pkg://MEDS_transforms.configs`."""
