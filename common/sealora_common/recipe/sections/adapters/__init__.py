"""The sections of the kinds of adapter beside `lora`, one file each, and what several of them have in common."""
