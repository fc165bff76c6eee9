"""A party's long-term identity: what signs for a site, the coordinator or the server.

`points`    which 32 bytes are the one encoding of a usable Ed25519 key
`hybrid`    the signature: Ed25519 and ML-DSA-65 over one message, valid only together
`text`      keys and signatures as text, and the short forms that people compare
`encoded_keys`  keys from PEM and OpenSSH text, with one error for all that they can lack
`keyfile`   `Identity`: a named private key, its file and passphrase; a public key's file
`card`      a site's name and public keys, signed by the site, for the coordinator
"""

from sealora_common.identity.hybrid import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, check_public_key, key_parts, verify
from sealora_common.identity.keyfile import (
    PASSPHRASE_FILE,
    Identity,
    encryption,
    read_passphrase,
    read_public_key,
    write_public_key,
)
from sealora_common.identity.text import (
    PublicKeyText,
    SignatureText,
    key_fingerprint,
    key_from_text,
    key_pin,
    key_to_text,
    short_form,
    signature_from_text,
    signature_to_text,
)

__all__ = [
    "PASSPHRASE_FILE",
    "PUBLIC_KEY_BYTES",
    "SIGNATURE_BYTES",
    "Identity",
    "PublicKeyText",
    "SignatureText",
    "check_public_key",
    "encryption",
    "key_fingerprint",
    "key_from_text",
    "key_parts",
    "key_pin",
    "key_to_text",
    "read_passphrase",
    "read_public_key",
    "short_form",
    "signature_from_text",
    "signature_to_text",
    "verify",
    "write_public_key",
]
