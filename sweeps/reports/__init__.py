"""What a sweep gave: tables, figures and pages."""
