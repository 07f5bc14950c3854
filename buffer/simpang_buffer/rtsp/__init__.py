"""RTSP 1.0 (RFC 2326), RTP (RFC 3550), SDP (RFC 8866) and digest sign-in (RFC 7616) in plain asyncio."""
