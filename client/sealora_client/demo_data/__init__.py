"""Data for trying Sealora out, made from what packages carry: never a site's own."""
