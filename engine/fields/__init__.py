"""What is known of a site, declared once: every screen, export, table and page takes it from here (numpy only).

- `field`     `SiteField`: what is to be said of one number
- `registry`  `SITE_FIELDS`: all of them; `shown`: which of them a place shows, in its order
"""
