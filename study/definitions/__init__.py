"""The studies that come with the platform: one small file each, with its question, command and findings."""
