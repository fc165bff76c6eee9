"""The SuperLink: Flower's, in a process of ours, and what stands between it and the sites."""
