"""How each kind of adapter sits on a base model, with torch and PEFT: one file a kind, behind `attachment`.

What server and sites must agree on (names, initial values, what travels) is the kind's own, in
`sealora_common.adapter.kinds`. A new kind adds a file here and a line in `choice`; tensors that are no weights of
linear maps need a rule of their own in `training.gradients` as well.
"""
