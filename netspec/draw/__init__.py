"""Pictures of nets and of the differences between two: laid out here, written as SVG, PNG, DOT or a page. No torch."""
