"""How each kind of adapter sits on a base model, with torch and PEFT: one file a kind, behind `attachment`.

What server and sites must agree on (names, initial values, what travels) is the kind's own, in
`sealora_common.adapter.kinds`. A new kind adds a file here and a line in `choice`, and one in `rules` for a sort of
tensor that is not there yet: a `TrainedTensor` brings the rule of its gradient by example. Clipping is `training`'s.
"""
