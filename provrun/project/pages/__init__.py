"""What is published: pages, commitments, leaves, crates, and their verification."""
