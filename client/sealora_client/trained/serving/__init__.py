"""A trained adapter asked over HTTP, in the form that OpenAI's clients speak: `sealora-site serve`.

What is answered, and how, is `answers`' and the same for everybody who asks; here is who may ask, what may be asked,
and in which order. Nothing here knows a second model, loads one or names a file.
"""
