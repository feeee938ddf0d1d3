"""How a finding looks: pages, figures and words."""
