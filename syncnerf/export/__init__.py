"""What other tools read: aligned videos, timestamps, keypoints, folders of other fields, timelines."""
