"""Commands that test a recipe for those who answer for its model, whose files a dossier takes as evidence."""
