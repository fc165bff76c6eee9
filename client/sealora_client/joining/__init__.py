"""How a site comes to take part: by an invitation, in two steps, with its person told what it agrees to.

`steps`           which step an invitation is, and what each does
`fitting_policy`  the policy that a recipe needs, and what of it a careful site would not give unasked
`agreement`       what a site agrees to with an invitation, in words; and what differs from what it agreed to before
`in_place`        the files that a site takes part by, put where they belong
`pinned`          a recipe that says which base model it means

What a site is once it takes part is `site`'s; what it is asked in a round, `round`'s.
"""
