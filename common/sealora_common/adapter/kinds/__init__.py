"""The kinds of adapter, one file each, as an `AdapterKind` of the recipe's section; anything torch is the site's.

A new kind is a file here, a line in `adapter.choice`, and a file in `sealora_client.model.adapters`.
"""
