"""Recording: what turns a camera's packets into media files, in processes of its own."""
