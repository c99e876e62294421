"""What several documents share: numbers, tables, figures and pages."""
