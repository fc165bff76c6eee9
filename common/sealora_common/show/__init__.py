"""What people are shown: text that others wrote cannot steer a terminal, forge a line or hide a part of itself."""
