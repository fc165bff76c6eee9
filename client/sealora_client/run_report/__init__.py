"""A site's own report of a run: what it measured, what left it, what that cost and is left, whether its receipts hold.

Its figures are exact, and it never leaves the site. What a server reports is `sealora_server.view`'s.
"""
