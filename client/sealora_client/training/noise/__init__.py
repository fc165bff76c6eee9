"""Noise, drawn exactly and from a cryptographic stream; how much is needed is `sealora_common.privacy`'s to say."""
