"""The sections of a recipe, one file each: every field with what it means and the range it may take.

What several sections must agree on is the business of `recipe.schema`. A field that comes later is marked `AddedLater`.
"""
