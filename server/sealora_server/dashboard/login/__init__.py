"""Who may log in at the operator's dashboard, and as what: token files, a proxy's word, an institution's own service.

What a session is, and the page that asks for a token, are every dashboard's (`sealora_common.web`); what an operator
may do is in `acts`.
"""
