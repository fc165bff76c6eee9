"""A trained adapter in use, offline: found where it is kept, asked, and written in the forms that others open.

What a site is given, and how that is checked, is `delivery`'s; forms that need no base model are
`sealora_common.export`'s.
"""
