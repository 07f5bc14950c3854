"""What has been recorded and where it lies: a database beside the media files, and what keeps both true."""
