"""The site's own page: what leaves, what is spent, how the site stands, and two acts. For people of that site alone.

`facts`         all that the page shows at one moment, read from the site's directory
`budget_facts`  what is spent and left, charge by charge, composed as the ledger composes it
`sent_facts`    what left the site, run by run
`known_sent`    what the site's files know of it
`score_facts`   the site's own exact scores
`priced`        what a recipe would cost, worked out in the background by the code of `sealora-site budget`
`follow`        the facts again and again, in a thread, for everybody who looks
`views`         the pages
`app`           which page is where, and the acts
`serve`         the process

The figures are exact, without noise, so nothing of this room may be imported by what speaks with a server.
"""
