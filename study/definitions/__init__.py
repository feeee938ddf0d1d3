"""The studies that come with the platform, one file each, with its question, command and findings."""
