"""The Textual application: opens screens, hands them snapshots, leaves in every way there is."""
