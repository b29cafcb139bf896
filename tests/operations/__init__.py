"""What one operates by: alarms, dashboard, saved queries, and the pages about them."""
