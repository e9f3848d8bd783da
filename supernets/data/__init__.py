"""Labelled images from the sources that people have, checked before anything is trained on them."""

from supernets.data.dataset import Dataset as Dataset
from supernets.data.dataset import Split as Split
from supernets.data.errors import DataError as DataError
from supernets.data.load import DEFAULT_DATASET as DEFAULT_DATASET
from supernets.data.load import load_dataset as load_dataset
