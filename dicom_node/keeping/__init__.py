"""What is kept, for how long, and how it is backed up; nothing goes that has not provably arrived."""
