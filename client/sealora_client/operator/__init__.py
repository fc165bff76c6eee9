"""What a running site tells its operator's other commands, and is told by them: small files of its directory.

`departure`    that it is to leave, and that it has left: written by a command or the page, obeyed by the site's process
`at_work`      where in a round it is: written by the site's process
`sent_log`     every message that left it: written by the site's process as it leaves
`kept_checks`  what the last checks found: written by whoever runs them

Each is typed, for this account alone (0600), and stays here. What was spent is `ledger`'s, what a round came to
`history.jsonl`'s.
"""
