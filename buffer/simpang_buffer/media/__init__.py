"""What a camera's packets become: pictures, dated samples and the media files that hold them.

Pure: no sockets, no clock. Only `boxes` reads, from files that it is given.
"""
