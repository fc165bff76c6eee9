"""What the pages of a server and of a site have in common: who may ask, who is logged in, how a page lives, its looks.

    token file -> sessions, login        who somebody is
    hosts -> guard                       what is answered at all, and with which headers
    pages, templates, assets             HTML from templates, styled as the reports are
    event_stream                         parts of a page that changed, told while it is open
    serve                                the process, from a free address to the last answer

An application is composed from the outside in:

    PageGuard(LoginGate(Starlette(routes=[*login.routes(), *assets.routes(), ...]), ...), names, scheme=...)

Nothing here knows what is on a page. Starlette, Uvicorn and Jinja2 are loaded here and in `show`'s pages alone: both
extras bring them, and `sealora_common` by itself does not.
"""
