"""One run on a server: its beginning, its process and its progress; the rounds themselves know no deployment."""
